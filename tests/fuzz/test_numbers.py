"""Numbers: schedules within their ends, checks that refuse by name, options of the command line."""

import contextlib
import io
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sslbolts import checks
from sslbolts.callbacks import EMATeacher
from sslbolts.cli import demo, main
from sslbolts.errors import UsageError
from sslbolts.optim import WarmupCosine, cosine
from sslbolts.optim.schedules import hold_and_decay, linear_decay, sigmoid_ramp, warmup_cosine, warmup_steps
from tests.fuzz.drawn import wild

steps = st.integers(0, 10**7)
lengths = st.integers(1, 10**7)
parts = st.floats(0, 1)


@given(steps, lengths, st.floats(-10, 10), st.floats(-10, 10))
def test_a_cosine_stays_between_its_ends(step, total, start, end):
    value = cosine(step, total=total, start=start, end=end)
    assert min(start, end) - 1e-9 <= value <= max(start, end) + 1e-9
    assert cosine(0, total=total, start=start, end=end) == pytest.approx(start)
    assert cosine(total + step, total=total, start=start, end=end) == pytest.approx(end)


@given(steps, lengths, st.integers(0, 10**7), parts, st.lists(st.floats(0.01, 0.99), max_size=4), parts)
def test_factors_of_learning_rates_are_in_zero_to_one(step, total, warmup, floor, milestones, factor):
    found = [
        warmup_cosine(step, total=total, warmup=warmup, floor=floor),
        warmup_steps(step, total=total, warmup=warmup, milestones=milestones, factor=factor),
        linear_decay(step, total=total, warmup=warmup, floor=floor),
        sigmoid_ramp(step, length=total),
    ]
    assert all(0 <= value <= 1 for value in found)
    if step >= max(total, warmup + 1):  # a run that ends with its warm-up ends at 1
        assert found[0] == pytest.approx(floor)
        assert found[2] == floor
        assert found[3] == 1
    if step < warmup:
        assert found[0] == found[1] == found[2] == step / warmup


@given(st.integers(0, 10**4), st.integers(0, 10**4), st.integers(1, 10**4), st.floats(1e-9, 1))
def test_hold_and_decay(epoch, hold, length, final):
    value = hold_and_decay(epoch, hold=hold, length=length, final=final)
    assert 0 <= value <= 1
    assert hold_and_decay(hold + length - 1, hold=hold, length=length, final=final) == pytest.approx(final)


@given(steps, lengths, parts, parts)
def test_momentum_of_a_teacher(step, total, momentum, final):
    teacher = EMATeacher(momentum, final_momentum=final)
    low, high = sorted((momentum, final))
    assert low - 1e-9 <= teacher.momentum_at(step=step, total=total) <= high + 1e-9


@given(st.integers(1, 30), st.integers(0, 10), parts, st.integers(0, 30))
def test_a_scheduler_goes_on_as_it_would_have(total, warmup, floor, done):
    def schedule() -> WarmupCosine:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
        return WarmupCosine(optimizer, total=total, warmup=warmup, floor=floor)

    whole, resumed = schedule(), schedule()
    for _ in range(done):
        whole.optimizer.step()
        whole.step()
    resumed.load_state_dict(whole.state_dict())
    assert resumed.get_last_lr() == whole.get_last_lr()
    assert whole.get_last_lr() == [pytest.approx(0.4 * warmup_cosine(done, total=total, warmup=warmup, floor=floor))]


def _holds(rule, value):
    """By the sentence of the check, for what is a finite number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or value != value or abs(value) > sys.float_info.max:
        return False
    return {
        "positive": value > 0,
        "at_least": value >= 2,
        "whole": not isinstance(value, float) or value.is_integer() if value >= 1 else False,
        "fraction": 0 <= value <= 1,
        "below_one": 0 <= value < 1,
    }[rule]


@pytest.mark.parametrize("rule", ["positive", "at_least", "whole", "fraction", "below_one"])
@given(wild)
def test_a_check_refuses_what_it_says_and_names_it(rule, value):
    check = getattr(checks, rule)
    given_ = (2,) if rule == "at_least" else ()
    if value is None or _holds(rule, value):
        check(*given_, width=value)
        return
    with pytest.raises(UsageError, match="width=") as caught:
        check(*given_, width=value)
    assert repr(value)[:20] in str(caught.value)


@given(st.one_of(wild.map(str), st.text(max_size=8)), st.sampled_from(["--epochs", "--seed"]))
def test_numbers_on_the_command_line(text, option):
    started = []
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(io.StringIO()) as said:
        patch.setattr(demo, "run", lambda folder, epochs, seed: started.append((epochs, seed)))
        try:
            status = main(["demo", f"{option}={text}"])
        except SystemExit as stopped:  # argparse's
            status = stopped.code
    if status == 0:
        assert started
        epochs, seed = started[0]
        assert epochs >= 1
        assert 0 <= seed < 2**32
    else:
        assert not started
        assert option.lstrip("-") in said.getvalue()
        assert "Traceback" not in said.getvalue()


MODEL_OPTIONS = ("temperature", "warmup_epochs", "hidden_dim", "final_lr", "in_chans")


@given(st.sampled_from(MODEL_OPTIONS), wild.map(str))
def test_numbers_of_a_method_are_refused_or_kept(name, text):
    """``--print_config`` reads the options and makes nothing."""
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            status = main(["fit", "--model=SimCLR", f"--model.{name}={text}", "--print_config"])
        except SystemExit as stopped:
            status = stopped.code
    assert "Traceback" not in said.getvalue()
    if status in (0, None):
        assert f"{name}:" in printed.getvalue()
    else:
        assert name in said.getvalue()
