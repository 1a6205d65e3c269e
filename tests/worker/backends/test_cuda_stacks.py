import torch

from worker.backends.cuda.stacks import fastest

X = torch.randn(1, 4, 1, 9)


def choose(**stacks):
    """Each stack comes with the seconds that it is to take."""
    seconds = dict(stacks.values())
    name, times = fastest({name: stack for name, (stack, _) in stacks.items()}, X, lambda stack, x: seconds[stack])
    return name, set(times)


def double(x):
    return x * 2


def nearly_double(x):
    return x * 2.001


def fail(x):
    raise RuntimeError("out of resource: shared memory")


def test_the_fastest_is_taken():
    assert choose(cudnn=(double, 3.0), ours=(nearly_double, 1.0)) == ("ours", {"cudnn", "ours"})
    assert choose(cudnn=(double, 1.0), ours=(nearly_double, 3.0)) == ("cudnn", {"cudnn", "ours"})


def test_what_fails_or_gives_something_else_is_not_taken():
    wrong = {
        "zeros": (torch.zeros_like, 0.1),
        "nan": (lambda x: x * float("nan"), 0.1),
        "shifted": (lambda x: 2 * x.roll(1, dims=3), 0.1),
        "broken": (fail, 0.1),
    }
    assert choose(cudnn=(double, 3.0), **wrong) == ("cudnn", {"cudnn"})
    assert choose(cudnn=(double, 3.0), **wrong, ours=(nearly_double, 2.0)) == ("ours", {"cudnn", "ours"})
