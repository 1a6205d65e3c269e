"""Does every receiver hear of every job's end, whatever dies and whatever it answers?"""
