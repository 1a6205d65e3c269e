"""`voicefixer-queue archive`: a folder of recordings, restored into another one, file by file and once each."""
