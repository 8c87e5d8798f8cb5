/** How a server of the service looks to who starts it. */
import type { ServiceReadyDocument } from '../../localapi/index.ts';
import type { Style } from '../style.ts';
import { renderFields } from '../tables.ts';

export function serviceReadyFields(ready: ServiceReadyDocument, style: Style): string {
  const { rootKey } = ready;
  return renderFields(
    [
      ['ready', ready.url],
      ['gateways', ready.gatewayAddress],
      ['metrics', ready.metricsUrl],
      ['store', ready.store],
      ['region', ready.region],
      ['CA', ready.caFingerprint],
      ['root account', ready.rootAccountId],
      ['access key', rootKey?.accessKeyId ?? null],
      ['its secret', rootKey === null ? null : `${rootKey.secretAccessKey}  (shown this once: keep it)`],
    ],
    style,
  );
}
