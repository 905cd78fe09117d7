"""Everything that can be asked of Ovenbird; the faces call nothing else."""
