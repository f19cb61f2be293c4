"""Pictures, video frames and PDF pages: opened safely, sampled by published rules, laid out in a prompt, cached."""
