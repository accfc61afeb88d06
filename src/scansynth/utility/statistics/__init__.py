"""What the scores of a trial come to: effects, intervals, rulings, claims, plans; arrays in, values out."""
