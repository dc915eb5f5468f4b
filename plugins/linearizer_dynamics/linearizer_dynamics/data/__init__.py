"""Systems to learn, each with its equations, and the trajectories made from them. Nothing is downloaded."""
