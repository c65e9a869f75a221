"""What extensions of A1111's web UI import, made of this program's own parts.

On ``sys.path`` only while such extensions are loaded; nothing of the program imports it.
"""
