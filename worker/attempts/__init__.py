"""How a process holds pieces of work: leases, who may work beside whom, troubles, and letting go."""
