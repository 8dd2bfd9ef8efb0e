"""How good a trained score or a force is: `score_error` and `hsd` judge a score field, `force_report` a force."""
