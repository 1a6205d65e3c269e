"""`/v1/audio/convert` as Harmony Speech Engine has it: one request, one answer, through the same queue as all jobs."""
