"""What the studio joins: one file for each thing the web process does or keeps."""
