# The VM rig; included by the Makefile of the project. Needs root's packages, not root itself: see vmtest/README.md.

KERNELS ?= 5.10 6.1 7.3
SCENARIOS ?= adj_biased global_noswap global_swap_disk many300 memcg_group memcg_max memcg_nested memcg_swap \
	numa_cpuset tmpfs_fill
.PHONY: vmtest vmfetch vmreality

vmtest: venv ## real OOM kills under QEMU; KERNELS='6.1 7.3' SCENARIOS='memcg_max many300', or all
	@$(BIN)/python -m vmtest run -k '$(filter-out all,$(KERNELS))' -s '$(filter-out all,$(SCENARIOS))' $(ARGS)

vmfetch: venv ## fetch the kernels of vmtest (KERNELS='6.1 7.3') and build its userland
	@$(BIN)/python -m vmtest fetch -k '$(filter-out all,$(KERNELS))'

vmreality: venv ## hold `oomsight simulate` against the results of vmtest
	@$(BIN)/python -m vmtest.reality
