"""The four steps of a job, as plain functions of a task; each module is named as its function."""
