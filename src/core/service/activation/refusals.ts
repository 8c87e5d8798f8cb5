/** How the service refuses a step of activation. Each case has a code of its own, and says what to do. */
import { SgwError } from '../../kit/index.ts';

const AGAIN = 'Start again: sgw activate';

export const badMessage = (what: string): SgwError =>
  new SgwError('invalid', 'bad-message', `the service does not understand the request: ${what}`);

export const proofWrong = (): SgwError =>
  new SgwError('denied', 'proof-wrong', 'the gateway did not prove that it holds the private key', { hint: AGAIN });

export const keyUnknown = (): SgwError =>
  new SgwError('notFound', 'activation-key-unknown', 'no gateway waits under this activation key', {
    hint: 'Compare it with what the gateway shows now: a newer key voids an older one.',
  });

export const keyExpired = (expiresAt: string | null): SgwError =>
  new SgwError('conflict', 'activation-key-expired', `the activation key expired at ${expiresAt ?? 'once'}`, {
    hint: `A key is good for 30 minutes. ${AGAIN}`,
  });

export const keyUsed = (): SgwError =>
  new SgwError('conflict', 'activation-key-used', 'the activation key was used already', {
    hint: 'A key activates one gateway: `sgw service gateway list` shows whether it is yours.',
  });

export const keyWrong = (): SgwError =>
  new SgwError('denied', 'activation-key-wrong', 'the activation key is not the one that was claimed', { hint: AGAIN });

export const notClaimed = (): SgwError =>
  new SgwError('conflict', 'activation-not-claimed', 'nobody has claimed the gateway yet', {
    hint: 'Take its activation key to the service.',
  });

export const claimed = (): SgwError =>
  new SgwError('conflict', 'activation-claimed', 'the gateway with this key pair was claimed already', { hint: AGAIN });

export const withdrawn = (): SgwError =>
  new SgwError('conflict', 'activation-withdrawn', 'the activation of this key pair was given up', { hint: AGAIN });
