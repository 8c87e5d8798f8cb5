/** What the fields of documents about a store mean. */
export const STORE_MEANINGS: Readonly<Record<string, string>> = {
  asOf: 'the copy has what had been committed to the store by then',
  copiedBytes: 'bytes that this call wrote',
  copiedObjects: 'objects that this call wrote',
  removedObjects: 'objects of an earlier call that the store has no more',
  'store-copy.from': 'where the store is',
  'store-copy.to': 'where the copy is',
  'store-copy.state':
    '`finished`: the copy is a store; `unfinished`: the same command goes on; `compared`: nothing was changed',
  'store-copy.resumed': 'whether an earlier call had begun',
  'store-copy.objects': 'objects of the copy',
  'store-copy.bytes': 'bytes of the copy',
  'store-copy.damage': 'objects that are damaged in the store, and so in the copy; compared: also those that differ',
  'store-copy.damage[].key': 'the object',
  'store-check.probes[].durationMs': 'how long it took, in milliseconds, with fractions',
  storeId: 'id of the store',
};
