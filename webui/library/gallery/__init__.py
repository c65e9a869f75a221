"""The index of all pictures: what lies in the output folders and in folders people have added."""
