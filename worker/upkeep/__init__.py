"""What keeps the service whole: what was lost is sent again, what is over is tidied, what is old goes."""
