"""`/v1/jobs`: a recording is sent or named, its options are read, its job is taken in and shown, its result fetched."""
