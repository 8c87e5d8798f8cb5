/** How a server of the service looks to who starts it. */
import type { ServiceReadyDocument } from '../../localapi/index.ts';
import type { Style } from '../style.ts';
import { renderFields } from '../tables.ts';

const KEYS = {
  none: null,
  provider: 'held by the provider: the store is sealed by the service',
  customer: "held by the store's customer",
} as const;

export function serviceReadyFields(ready: ServiceReadyDocument, style: Style): string {
  const { rootKey } = ready;
  return renderFields(
    [
      ['ready', ready.url],
      ['gateways', ready.gatewayAddress],
      ['metrics', ready.metricsUrl],
      ['store', ready.store],
      ['keys', KEYS[ready.keys]],
      ['region', ready.region],
      ['CA', ready.caFingerprint],
      ['root account', ready.rootAccountId],
      ['access key', rootKey?.accessKeyId ?? null],
      ['its secret', rootKey === null ? null : `${rootKey.secretAccessKey}  (shown this once: keep it)`],
    ],
    style,
  );
}
