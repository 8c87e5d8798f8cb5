/** The block API's documents and operations. An entrance of its own: only who serves or uses it loads the schemas. */
export * from './documents.ts';
export { BLOCK_API, type BlockApiName, type BlockApiOperation } from './operations.ts';
