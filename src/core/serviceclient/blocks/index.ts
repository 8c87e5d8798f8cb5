/** `sgw/client`: what the package gives to other people's programs. An entrance of its own, since sgw itself does not need it. */
export { SgwError, type ErrorDetails, type ErrorKind } from '../../kit/index.ts';
export {
  BLOCK_API_BYTES,
  type NewSnapshot,
  type NewVolume,
  type Snapshot,
  type Volume,
} from '../../protocol/blockapi/index.ts';
export type { AccessKey } from '../sign.ts';
export { BlockClient, type BlockClientOptions, type CallOptions } from './block-client.ts';
