/** The fake gateway's activation at a service: claimed at once, by `ACCOUNT`. */
import type { SgwError as SgwErrorClass } from '../../src/core/kit/index.ts';
import type { Handlers, RemoteActivationDocument } from '../../src/core/localapi/index.ts';
import { ACCOUNT } from './fake-care.ts';

const TIME = '2026-11-22T23:45:00.000Z';
export const ACTIVATION_KEY = '0F2KD-9XQ4T-JT3RM-N1SVB-7WZ5C';
const SERVICE = 'https://sgw.example:8443';

type Activation = Pick<Handlers, 'activation.begin' | 'activation.await' | 'activation.finish' | 'activation.withdraw'>;

/** What goes wrong: keys that nobody takes, a place that is taken. */
export type ActivationTrouble = 'expired' | 'page-used';

/** `become`: the home is a gateway from then on. */
export function activationHandlers(
  isActivated: () => boolean,
  become: (name: string) => void,
  { SgwError, trouble }: { readonly SgwError: typeof SgwErrorClass; readonly trouble: ActivationTrouble | undefined },
): Activation {
  const shown: RemoteActivationDocument = {
    state: 'shown',
    service: SERVICE,
    activationKey: ACTIVATION_KEY,
    expiresAt: TIME,
    claimUrl: `${SERVICE}/activate?activationKey=${ACTIVATION_KEY}`,
    keyFingerprint: 'ab'.repeat(32),
    metadata: { name: 'host', mode: 'cached' },
    claimedBy: null,
  };
  const claimedBy = { gatewayId: 'sgw-01234567', name: 'named', accountId: ACCOUNT, mode: 'cached', region: 'lab' };
  const claimed = { ...shown, activationKey: null, expiresAt: null, claimUrl: null, claimedBy } as const;
  return {
    'activation.begin': async () =>
      Promise.resolve(
        isActivated() ? ({ ...claimed, state: 'activated' } as RemoteActivationDocument) : structuredClone(shown),
      ),
    'activation.await': async ({ page }) => {
      if (trouble === 'page-used' && page?.endsWith(':8480') === true)
        throw new SgwError('unavailable', 'page-address-used', `something else listens at ${page}`);
      const state = trouble === 'expired' ? ('expired' as const) : ('claimed' as const);
      const { claimedBy: by } = claimed;
      return Promise.resolve({
        ...claimed,
        state,
        claimedBy: trouble === 'expired' ? null : by,
      } as RemoteActivationDocument);
    },
    'activation.finish': async ({ accountId }) => {
      become(claimedBy.name);
      return Promise.resolve({
        gatewayId: claimedBy.gatewayId,
        name: claimedBy.name,
        mode: 'cached' as const,
        accountId,
        home: '/home/fake',
        store: 'sgw-service://sgw.example:8444',
        storeId: 'store-1',
        region: claimedBy.region,
        activatedAt: TIME,
        encryption: 'none' as const,
        activationKey: ACTIVATION_KEY,
        metadata: { ...shown.metadata },
        service: SERVICE,
        recoveryCode: null,
        created: true,
      });
    },
    'activation.withdraw': async () => Promise.resolve({}),
  };
}
