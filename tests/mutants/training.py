"""Mutants of what all methods train with: gathering, memories, schedules, optimizers, draws."""

from functools import partial

from tests.mutants.mutant import Mutant

_ranks = partial(Mutant, family="several ranks")
_state = partial(Mutant, family="memories and state")
_schedule = partial(Mutant, family="schedules")
_optimizer = partial(Mutant, family="optimizers and groups")

MUTANTS = (
    _ranks(
        name="gathering passes no gradient to other ranks' embeddings",
        file="distributed.py",
        before="        total = grads[0].contiguous()\n        dist.all_reduce(total)\n",
        after="        total = grads[0].contiguous()\n",
        tests=(
            "tests/distributed/test_collectives.py::test_gather_gives_rows_in_rank_order_and_sums_the_gradients_of_all_losses",
        ),
    ),
    _ranks(
        name="a sum over ranks passes its gradient on unsummed",
        file="distributed.py",
        before="        total = grads[0].clone()\n        dist.all_reduce(total)\n",
        after="        total = grads[0].clone()\n",
        tests=("tests/distributed/test_collectives.py::test_all_sum_is_differentiable",),
    ),
    _ranks(
        name="an image's partner is looked for among the first rank's",
        file="losses/contrastive.py",
        before="own = own_rows(z1)\n    itself",
        after="own = torch.arange(len(z1), device=z1.device)\n    itself",
        tests=("tests/losses/test_contrastive.py::test_loss_and_gradient_on_two_ranks_are_those_of_the_whole_batch",),
    ),
    _ranks(
        name="all ranks take the first rank's draws",
        file="training/shared_draws.py",
        before="    drawn = torch.rand(_for_all_ranks(shape, images), generator=generator, device=generator.device)\n"
        "    return drawn.narrow(images, rank() * shape[images], shape[images])",
        after="    drawn = torch.rand(_for_all_ranks(shape, images), generator=generator, device=generator.device)\n"
        "    return drawn.narrow(images, 0, shape[images])",
        tests=("tests/training/test_shared_draws.py::test_ranks_share_what_one_process_draws_for_all_images",),
    ),
    _ranks(
        name="dropout draws the same on all ranks",
        file="training/module.py",
        before="mix(self._seed, self.trainer.current_epoch, batch_idx, self.global_rank)",
        after="mix(self._seed, self.trainer.current_epoch, batch_idx)",
        tests=("tests/methods/test_base.py::test_ranks_of_one_seed_draw_differently",),
    ),
    _ranks(
        name="views of all ranks are drawn from one seed",
        file="data/sampler.py",
        before="mix(self.seed, _VIEWS, epoch, batch, self.rank)",
        after="mix(self.seed, _VIEWS, epoch, batch)",
        tests=("tests/data/test_sampler.py::test_every_batch_of_every_epoch_and_rank_has_a_seed_of_its_own",),
    ),
    _ranks(
        name="all ranks train on the same images",
        file="data/sampler.py",
        before="torch.arange(start + self.rank * rows, start + (self.rank + 1) * rows)",
        after="torch.arange(start, start + rows)",
        tests=("tests/data/test_sampler.py::test_ranks_share_the_global_batch_of_one_process_in_rank_order",),
    ),
    _ranks(
        name="memories are not made equal on all ranks at the start",
        file="methods/base.py",
        before="        broadcast_memories(self)\n",
        after="",
        tests=("tests/training/test_memory.py::test_queue_starts_as_that_of_the_first_rank_and_is_never_sent_again",),
    ),
    _ranks(
        name="the probe learns from its own rank's rows only",
        file="callbacks/shared/linear_heads.py",
        before="packed = all_sum(torch.cat(sums))",
        after="packed = torch.cat(sums)",
        tests=("tests/callbacks/test_two_ranks.py::test_the_probe_trains_as_in_one_process_on_the_whole_batch",),
    ),
    _state(
        name="the queue is not saved",
        file="training/memory.py",
        before='self.register_buffer("rows", F.normalize(torch.randn(length, dim)))',
        after='self.register_buffer("rows", F.normalize(torch.randn(length, dim)), persistent=False)',
        tests=(
            "tests/training/test_memory.py::test_names_of_memories_are_those_of_the_state_dict",
            "tests/invariants/test_invariants.py::test_resumed_run_is_the_uninterrupted_one_bit_for_bit[MoCo]",
        ),
    ),
    _state(
        name="the queue's place is not saved",
        file="training/memory.py",
        before='self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))',
        after='self.register_buffer("pointer", torch.zeros((), dtype=torch.int64), persistent=False)',
        tests=("tests/invariants/test_invariants.py::test_resumed_run_is_the_uninterrupted_one_bit_for_bit[MoCo]",),
    ),
    _state(
        name="new rows replace the queue's newest instead of its oldest",
        file="training/memory.py",
        before="places = (self.pointer + torch.arange",
        after="places = (self.pointer - len(rows) + torch.arange",
        tests=("tests/training/test_memory.py::test_queue_keeps_the_newest_rows_and_starts_over_at_its_end",),
    ),
    _state(
        name="only the last of accumulated batches enters a memory",
        file="training/memory.py",
        before="zip(*self._staged, strict=True)",
        after="zip(*self._staged[-1:], strict=True)",
        tests=("tests/training/test_memory.py::test_everything_staged_is_one_update",),
    ),
    _state(
        name="what was staged is committed again with every step",
        file="training/memory.py",
        before="            self._staged.clear()\n            with",
        after="            with",
        tests=(
            "tests/training/test_memory.py::test_everything_staged_is_one_update",
            "tests/training/test_memory.py::test_queue_moves_with_the_optimizer_not_with_every_batch",
        ),
    ),
    _state(
        name="masks and permutations are the same in every epoch",
        file="training/module.py",
        before="return generator(self._seed, self.current_epoch, batch_idx, *more, device=device)",
        after="return generator(self._seed, batch_idx, *more, device=device)",
        tests=(
            "tests/methods/test_base.py::test_draws_differ_from_batch_to_batch_and_follow_the_seed",
            "tests/methods/pretext/test_denoising_autoencoder.py::test_corruption_differs_between_batches_and_epochs_and_not_between_runs",
        ),
    ),
    _state(
        name="a resumed run draws from a new seed",
        file="training/module.py",
        before='self._resumed_seed = checkpoint.get("sslbolts_seed")',
        after="self._resumed_seed = None",
        tests=("tests/invariants/test_invariants.py::test_resumed_run_is_the_uninterrupted_one_bit_for_bit[MAE]",),
    ),
    _state(
        name="a resumed run's views are drawn from a new seed",
        file="data/resumable.py",
        before='            self._seed = int(state_dict["seed"])\n',
        after="            pass\n",
        tests=(
            "tests/data/test_fit.py::test_a_resumed_run_sees_what_the_uninterrupted_one_would_bitwise",
            "tests/data/test_fit.py::test_the_seed_is_that_of_seed_everything_and_stays_in_the_checkpoint",
        ),
    ),
    _state(
        name="a resumed run begins its epoch's images again",
        file="data/sampler.py",
        before="self._start, self._count = done, len(self) - done_in_epoch % len(self)",
        after="self._start, self._count = done - done_in_epoch % len(self), len(self) - done_in_epoch % len(self)",
        tests=("tests/data/test_sampler.py::test_starting_in_the_middle_gives_the_rest_of_the_epoch",),
    ),
    _state(
        name="means of the epoch so far are lost when a run is resumed",
        file="callbacks/collapse.py",
        before='state = {"sums": dict(self._sums), "measured": self._measured}',
        after='state = {"sums": {}, "measured": 0}',
        tests=(
            "tests/training/test_resumption.py::test_means_of_an_epoch_are_over_all_of_it",
            "tests/invariants/test_invariants.py::test_resumed_run_is_the_uninterrupted_one_bit_for_bit[SimCLR]",
        ),
    ),
    _state(
        name="the probe's count of the epoch is lost when a run is resumed",
        file="callbacks/probe.py",
        before='"train_counts": self._train_counts, "chosen"',
        after='"train_counts": None, "chosen"',
        tests=(
            "tests/training/test_resumption.py::test_means_of_an_epoch_are_over_all_of_it",
            "tests/invariants/test_invariants.py::test_resumed_run_is_the_uninterrupted_one_bit_for_bit[SimCLR]",
        ),
    ),
    _schedule(
        name="the learning rate does not count accumulated batches",
        file="training/facts.py",
        before="return per_device_batch_size(trainer) * trainer.world_size * trainer.accumulate_grad_batches",
        after="return per_device_batch_size(trainer) * trainer.world_size",
        tests=("tests/methods/test_base.py::test_learning_rate_follows_the_effective_batch",),
    ),
    _schedule(
        name="square-root scaling is linear",
        file="methods/base.py",
        before="ratio**0.5)",
        after="ratio)",
        tests=("tests/methods/test_base.py::test_learning_rate_follows_the_effective_batch",),
    ),
    _schedule(
        name="the warm-up is one step ahead",
        file="methods/base.py",
        before="return (step + self.warmup_lead) / warmup",
        after="return (step + 1) / warmup",
        tests=("tests/methods/test_base.py::test_warm_up_counts_optimizer_steps_not_batches",),
    ),
    _schedule(
        name="the cosine goes on past the end of the run",
        file="optim/schedules.py",
        before="cosine(step - warmup, total=max(total - warmup, 1)",
        after="cosine(step - warmup, total=total",
        tests=("tests/optim/test_schedules.py::test_warmup_is_linear_and_the_rest_half_a_cosine",),
    ),
    _schedule(
        name="milestones come one step late",
        file="optim/schedules.py",
        before="sum(step >= round(milestone * total)",
        after="sum(step > round(milestone * total)",
        tests=("tests/optim/test_schedules.py::test_steps_fall_at_the_milestones_after_a_linear_rise",),
    ),
    _schedule(
        name="an incomplete accumulation at the end of an epoch is no step",
        file="training/facts.py",
        before="max(1.0, math.ceil(batches / trainer.accumulate_grad_batches))",
        after="max(1.0, math.floor(batches / trainer.accumulate_grad_batches))",
        tests=("tests/training/test_facts.py::test_steps_and_batches_follow_the_trainers_settings",),
    ),
    _schedule(
        name="a second fit of one module begins in the middle of its schedule",
        file="training/facts.py",
        before="    return int(trainer.global_step) - _beginning(trainer).steps\n",
        after="    return int(trainer.global_step)\n",
        tests=(
            "tests/callbacks/test_ema.py::test_a_second_fit_starts_its_momentum_again",
            "tests/callbacks/test_ema.py::test_learning_rate_and_momentum_of_a_run_go_by_one_clock_in_every_fit_of_a_trainer",
        ),
    ),
    _schedule(
        name="the weight decay schedule is flat",
        file="callbacks/schedules.py",
        before="return cosine(step, total=total, start=start, end=self.final)",
        after="return start",
        tests=(
            "tests/callbacks/test_schedules.py::test_decay_follows_the_cosine_per_step_and_undecayed_groups_stay_so",
        ),
    ),
    _schedule(
        name="a resumed schedule takes its peak from the checkpoint",
        file="optim/scheduler.py",
        before='super().load_state_dict({**state_dict, "base_lrs": self.base_lrs})',
        after="super().load_state_dict(state_dict)",
        tests=("tests/optim/test_scheduler.py::test_a_resumed_run_takes_its_own_learning_rate_and_decay",),
    ),
    _optimizer(
        name="weight decay on biases and norms",
        file="optim/groups.py",
        before="decayed = [p for p in parameters.values() if p.dim() > 1]\n"
        "    exempt = [p for p in parameters.values() if p.dim() <= 1]",
        after="decayed = [p for p in parameters.values() if p.dim() >= 1]\n"
        "    exempt = [p for p in parameters.values() if p.dim() < 1]",
        tests=("tests/optim/test_groups.py::test_biases_and_norms_are_not_decayed",),
    ),
    _optimizer(
        name="a group's share of the learning rate has no effect",
        file="methods/base.py",
        before='group["lr"] *= scale * group.get("lr_scale", 1.0)',
        after='group["lr"] *= scale',
        tests=(
            "tests/methods/test_base.py::test_groups_with_rates_of_their_own_keep_their_ratio",
            "tests/methods/test_base.py::test_a_method_can_give_groups_another_or_a_constant_rate",
        ),
    ),
    _optimizer(
        name="groups of a fixed learning rate follow the schedule",
        file="optim/scheduler.py",
        before="[_unchanged if keep else factor for keep in fixed]",
        after="[factor for keep in fixed]",
        tests=("tests/methods/test_base.py::test_a_method_can_give_groups_another_or_a_constant_rate",),
    ),
    _optimizer(
        name="LARS adapts biases and norms, too",
        file="optim/lars.py",
        before="adapted = [p for p in params if p.dim() > 1]",
        after="adapted = [p for p in params if p.dim() >= 1]",
        tests=("tests/optim/test_lars.py::test_steps_equal_the_loop",),
    ),
    _optimizer(
        name="LARS: the ratio leaves weight decay out",
        file="optim/lars.py",
        before="_trust(norms(adapted), norms(decayed), group)",
        after="_trust(norms(adapted), norms(gradients), group)",
        tests=("tests/optim/test_lars.py::test_steps_equal_the_loop",),
    ),
    _optimizer(
        name="LARC: decay is not scaled by the ratio",
        file="optim/larc.py",
        before="torch.where(defined, trust * decay, torch.zeros_like(trust))",
        after="torch.where(defined, decay * torch.ones_like(trust), torch.zeros_like(trust))",
        tests=("tests/optim/test_larc.py::test_every_tensor_is_adapted_but_zeros",),
    ),
    _optimizer(
        name="BERT's Adam decays the weights after the step",
        file="optim/bert_adam.py",
        before='                _foreach_addcdiv_(parameters, means, roots, -group["lr"])\n'
        "                _foreach_add_(parameters, decay)\n",
        after='                _foreach_addcdiv_(parameters, means, roots, -group["lr"])\n'
        '                _foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])\n',
        tests=("tests/methods/text/test_masked_language_model.py::test_the_optimizer_is_adam_without_bias_correction",),
    ),
    _optimizer(
        name="layer decay: the last block learns at the head's rate",
        file="optim/layer_decay.py",
        before="rate = lr * layer_decay ** (top - numbers.get(name, top))",
        after="rate = lr * layer_decay ** max(0, top - 1 - numbers.get(name, top))",
        tests=(
            "tests/evaluation/fine_tuning/test_fine_tune.py::test_a_vits_learning_rates_are_those_of_the_official_numbering_of_blocks",
        ),
    ),
)
