"""What goes to the Hugging Face Hub and comes from there, with a stand-in for its interface."""
