/** The flags that say where a store is, and the one text that the gateway takes for it: a path, or a URL. */
import { Flags, type Interfaces } from '@oclif/core';
import { SgwError } from '../kit/index.ts';
import { gatewayPath } from './gateway-path.ts';
import { checkPath } from './values.ts';

const URL_SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;

interface StoreFlagsOfCommand {
  readonly store: Interfaces.OptionFlag<string | undefined>;
  readonly 'store-endpoint': Interfaces.OptionFlag<string | undefined>;
  readonly 'store-region': Interfaces.OptionFlag<string | undefined>;
  readonly 'path-style': Interfaces.BooleanFlag<boolean>;
}

/** `--store` and what belongs to one in a bucket. */
export const storeFlags = (description: string): StoreFlagsOfCommand => ({
  store: Flags.custom({
    description,
    helpValue: 'PLACE',
    parse: async (text: string) => checkPath(text, '--store'),
  })(),
  'store-endpoint': Flags.string({
    description: 'Base URL of the S3 server that has the bucket. [default: AWS]',
    helpValue: 'URL',
  }),
  'store-region': Flags.string({
    description: 'Region of the bucket. [default: that of the profile]',
    helpValue: 'REGION',
  }),
  'path-style': Flags.boolean({
    description: 'Name the bucket in the path, not in the host, as most servers but AWS need it.',
  }),
});

/** Of a verb that can read a store without a gateway. */
export const readStoreFlags = (): StoreFlagsOfCommand =>
  storeFlags(
    'Read this store, a directory or s3://BUCKET/PREFIX, without a gateway; no home is needed. [default: that of the gateway]',
  );

export interface StoreFlags {
  readonly store?: string | undefined;
  readonly 'store-endpoint'?: string | undefined;
  readonly 'store-region'?: string | undefined;
  readonly 'path-style'?: boolean;
}

/**
 * A path as the gateway needs it, absolute; a URL with what the flags add; undefined when no store was named. `calledBy`:
 * what the flags are called where they have other names.
 * @throws invalid `flag-alone` for flags of a bucket without one
 */
export function storeLocation(flags: StoreFlags, calledBy = (flag: string): string => flag): string | undefined {
  const { store, 'store-endpoint': endpoint, 'store-region': region } = flags;
  const options = [
    ...(endpoint === undefined ? [] : [['endpoint', endpoint, '--store-endpoint'] as const]),
    ...(region === undefined ? [] : [['region', region, '--store-region'] as const]),
    ...(flags['path-style'] === true ? [['path-style', 'true', '--path-style'] as const] : []),
  ];
  const [first] = options;
  if (first === undefined) return store === undefined || URL_SCHEME.test(store) ? store : gatewayPath(store);
  if (store === undefined || !URL_SCHEME.test(store))
    throw new SgwError('invalid', 'flag-alone', `${calledBy(first[2])} means nothing without s3://BUCKET/PREFIX`, {
      hint: `Name the bucket, as --store s3://BUCKET/PREFIX does, or leave ${calledBy(first[2])} out.`,
    });
  const [place = '', query = ''] = store.split('?', 2);
  const search = new URLSearchParams(query);
  for (const [name, value] of options) search.set(name, value);
  return `${place}?${search.toString()}`;
}
