"""What readers of weight files tell and networks recognise: operations and their graph, tensors, pictures."""
