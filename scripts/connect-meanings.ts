/** What the fields of what `volume connect` tells mean. */
export const CONNECT_MEANINGS: Readonly<Record<string, string>> = {
  'volume-connect.event':
    '`ready`: clients can connect; `found`: a gateway that holds it; `lost`: it is not there any more; `silent`: nothing was answered for a while, and another one is looked for; `resumed`: it answers again; `looking`: why none was found yet; `resized`: it is larger; `closed`: the end',
  'volume-connect.time': 'when it happened',
  'volume-connect.exportName': 'what the gateways serve it as, and clients of this machine name',
  'volume-connect.listen': 'of `ready`: where clients of this machine connect',
  'volume-connect.uris': 'of `ready`: the same as URIs of NBD',
  'volume-connect.address': 'where the gateway is that it is about',
  'volume-connect.epoch': 'of `found`: the epoch of the writer there; null where the server does not tell',
  'volume-connect.sizeBytes': 'size of the volume; of `resized`, the new one',
  'volume-connect.afterMs':
    'of `found`: milliseconds since the one before was lost, or answered last; null for the first; of `silent`, `resumed` and `looking`: how long it lasts, or lasted',
  'volume-connect.waiting': 'of `lost` and `silent`: requests that are not answered',
  'volume-connect.repeated': 'of `found`: requests that were sent again',
  'volume-connect.reason': 'of `lost` and `looking`: why, a sentence',
  'volume-connect.code': 'of `lost` and `looking`: the code of that, as in ERRORS.md',
};
