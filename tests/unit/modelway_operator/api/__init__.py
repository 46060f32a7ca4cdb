"""The API's types: what they take, what they refuse and in which words, and the CRDs made from them."""
