/** The gateway's side of the control plane: a part of its own, since only the daemon of a gateway that a provider manages loads it. */
export { ControlLink, type LinkIdentity, type LinkOptions } from './link.ts';
export { Management } from './management.ts';
