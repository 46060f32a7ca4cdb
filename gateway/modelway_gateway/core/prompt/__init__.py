"""What a prompt says about itself: task, domain, difficulty, language, length, own categories, personal data.

Pure: text and a model that somebody else has loaded go in, labels with calibrated confidences come out. Nothing here
keeps a text, logs it or puts it into an error. Below `minConfidence` an answer is none; that is decided by who asks.
"""
