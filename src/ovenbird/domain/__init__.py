"""What we know: values, decisions and errors; standard library only, no I/O, no clock."""
