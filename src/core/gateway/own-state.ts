/** Whether `state.json` is that of this home: a sound one of another home would act in the name of another gateway. */
import { join } from 'node:path';
import { SgwError } from '../kit/index.ts';
import type { GatewayState } from '../state/index.ts';

/**
 * Holds the credential in the state against the private key in the home. A key that is missing or damaged is told by what
 * needs it.
 * @throws corrupt `state-damaged`
 */
export async function requireOwnState(home: string, { credential, gatewayId }: GatewayState): Promise<void> {
  if (credential === null) return;
  const { readPrivateKey } = await import('./key-file.ts');
  const { fingerprintOf } = await import('../protocol/index.ts');
  const key = await readPrivateKey(home).catch(() => undefined);
  if (key === undefined || fingerprintOf(key.publicKey) === credential.keyFingerprint) return;
  const path = join(home, 'state.json');
  throw new SgwError('corrupt', 'state-damaged', `${path} is of gateway ${gatewayId}, whose key is not in this home`, {
    hint: `Nothing was changed. Put this home's own state back: ${path}.previous is the version before it, if it is there.`,
    details: { path, gatewayId },
  });
}
