import { flagsOf, given, optionalReference, pricesFlag, SgwCommand, storeStatsText } from '../../core/cli/index.ts';

export default class StoreStats extends SgwCommand {
  static override summary = 'Show what the store holds, what is asked of it, and what that costs.';
  static override description =
    'Counts the objects of the store and their bytes, and shows the requests that the running gateway makes. Of what it has ' +
    'measured, a month is forecast: storage, requests and traffic, for each volume and in total, by the prices of prices.json in ' +
    'the home, or else those that are known of the provider. With a volume, also what recovery points more or less often would ' +
    'cost: their interval is set with `sgw volume configure VOLUME --seal-interval`.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> db',
    '<%= config.bin %> <%= command.id %> --prices r2',
    '<%= config.bin %> <%= command.id %> --json',
  ];
  static override args = {
    volume: optionalReference('volume', 'Volume: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = flagsOf('store stats', {
    prices: pricesFlag({ description: 'What it would cost there, by the price table of this program.' }),
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(StoreStats);
    await using session = this.session(flags);
    const stats = await session.call('store.stats', given({ volume: args.volume, prices: flags.prices }));
    const isOfOne = args.volume !== undefined;
    await session.print(stats, async (style, columns) => storeStatsText(stats, style, columns, isOfOne));
    const [name] = stats.byVolume.flatMap((volume) => volume.name ?? []);
    if (isOfOne) await session.next(`sgw volume configure ${args.volume ?? ''} --seal-interval 1m`);
    else await session.next(...(name === undefined ? [] : [`sgw store stats ${name}`]), 'sgw store check');
  }
}
