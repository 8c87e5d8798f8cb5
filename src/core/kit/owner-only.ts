/** Files that are for their owner alone from the moment that they are there. */

/** Leaves the owner's rights to read and write. */
const OWNER_UMASK = 0o177;

/** Whatever `work` makes before it returns can be used by its owner alone; nobody else is faster than a change of the mode. */
export function ownerOnly(work: () => void): void {
  const umask = process.umask(OWNER_UMASK);
  try {
    work();
  } finally {
    process.umask(umask);
  }
}
