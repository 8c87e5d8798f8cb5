import { memoryStore } from '../../src/core/objectstore/index.ts';
import { objectStoreContract } from './objectstore.ts';

objectStoreContract('memory', async () => Promise.resolve({ store: memoryStore() }));
