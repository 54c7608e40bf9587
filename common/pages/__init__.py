"""What pages are made of, on either side: elements of HTML, numbers as people read them."""
