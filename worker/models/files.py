"""The two checkpoint files by name; without torch, so that looking for them is quick."""

RESTORER_FILE = "vf.ckpt"
VOCODER_FILE = "model.ckpt-1490000_trimed.pt"
FILES = (RESTORER_FILE, VOCODER_FILE)
PUBLISHED_MD5 = {
    RESTORER_FILE: "1f479dabb9fa5724de5e20f2164cbc7a",
    VOCODER_FILE: "ac6de16561dd6042daf8bb3a806dc818",
}
