"""How good samples and scores are. `frechet` compares sets of features; `score_error` and `hsd` judge a score field."""
