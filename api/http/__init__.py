"""What any route needs of HTTP: bodies, ranges, names of files, an id and a log line, errors as documents."""
