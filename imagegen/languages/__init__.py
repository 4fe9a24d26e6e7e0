"""The languages of the page: which there are, which one a request asks for, and the texts in each of them."""
