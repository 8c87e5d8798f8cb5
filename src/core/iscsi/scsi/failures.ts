/**
 * Turns what a block device throws into sense data: one table, by the kind of the error. What initiators do with a sense key is
 * what decides: some are tried again at once, some after a while, and some fail.
 */
import { toSgwError, type ErrorKind } from '../../kit/index.ts';
import { ASC, SENSE_KEY, type Sense } from './sense.ts';

const HARDWARE: Sense = { key: SENSE_KEY.hardwareError, code: ASC.internalTargetFailure };

const SENSES: Readonly<Record<ErrorKind, Sense>> = {
  corrupt: { key: SENSE_KEY.mediumError, code: ASC.unrecoveredReadError },
  readOnly: { key: SENSE_KEY.dataProtect, code: ASC.writeProtected },
  /** Initiators tell their users of a lack of space, and do not try again. */
  exhausted: { key: SENSE_KEY.dataProtect, code: ASC.spaceAllocationFailed },
  /**
   * Somebody else writes the volume now, and only an operator changes that. NOT READY with this code is not tried again, and lets
   * multipath go over to another path; HARDWARE ERROR would fail there on all paths.
   */
  fenced: { key: SENSE_KEY.notReady, code: ASC.manualInterventionRequired },
  /** Out of reach at the moment: initiators wait and try again until their own time is over. */
  unavailable: { key: SENSE_KEY.notReady, code: ASC.becomingReady },
  /** The device has waited long enough: initiators try again at once, a few times. */
  timeout: { key: SENSE_KEY.abortedCommand, code: ASC.communicationTimeout },
  aborted: { key: SENSE_KEY.abortedCommand, code: ASC.none },
  invalid: HARDWARE,
  notFound: HARDWARE,
  conflict: HARDWARE,
  denied: HARDWARE,
  unsupported: HARDWARE,
  internal: HARDWARE,
};

const WRITE_CORRUPT: Sense = { key: SENSE_KEY.mediumError, code: ASC.writeError };

/** The sense data of a device call that failed. */
export function senseOf(error: unknown, during: 'read' | 'write'): Sense {
  const { kind } = toSgwError(error);
  return kind === 'corrupt' && during === 'write' ? WRITE_CORRUPT : SENSES[kind];
}

/** Runs device calls. A failure becomes its sense data. */
export async function attempt(during: 'read' | 'write', work: () => Promise<void>): Promise<Sense | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    return senseOf(error, during);
  }
}
