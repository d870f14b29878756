"""What a bundle says in a closed world of words, judged exactly."""
