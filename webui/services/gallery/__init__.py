"""The gallery: pictures found and changed, their history, whether they can be painted again."""
