import { SgwError } from '../kit/index.ts';

/** What verbs answer that serve something: that takes a process which stays. */
export function daemonNeeded(what: string): SgwError {
  return new SgwError('unavailable', 'daemon-needed', `${what} needs the gateway daemon, which does not run`, {
    hint: 'Start it: sgw gateway start',
  });
}
