/**
 * The EBS direct API over a bucket, in a process of its own: `node ebs-server.ts S3URL [sealed]`. Tells its parent where it is,
 * and who may ask.
 */
import { openObjectStore } from '../src/core/objectstore/index.ts';
import { EbsRig } from '../test/unit/service/ebs/ebs-rig.ts';

const [place = '', mode] = process.argv.slice(2);
const rig = await EbsRig.start(await openObjectStore(place, { create: true }), {}, { isSealed: mode === 'sealed' });
const { credentials } = await rig.user('bench');
process.send?.({ endpoint: rig.endpoint, credentials });
process.on('disconnect', () => {
  process.exit(0);
});
