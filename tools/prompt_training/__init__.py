"""How the prompt model is made. Not part of the product: needs the packages of requirements.txt beside it."""
