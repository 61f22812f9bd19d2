"""Server of exported models, with the REST interface of TensorFlow Serving."""
