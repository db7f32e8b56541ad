// pg-boss: fetch and complete, which take batches, in the order of enqueueing; who waits is its work(), at its shortest interval.
import PgBoss from 'pg-boss'

export async function open({ batch, clients }) {
	const boss = new PgBoss({ host: process.env.PGHOST, user: process.env.PGUSER, database: process.env.PGDATABASE,
		max: clients + 2, schedule: false })
	boss.on('error', console.error)
	await boss.start()
	await boss.createQueue('bench')
	const round = async () => {
		const jobs = await boss.fetch('bench', { batchSize: batch, priority: false })
		if (jobs.length > 0) await boss.complete('bench', jobs.map((job) => job.id))
		return jobs.length
	}
	return {
		async enqueue(payloads) {
			if (payloads.length === 1) await boss.send('bench', payloads[0])
			else await boss.insert(payloads.map((data) => ({ name: 'bench', data })))
		},
		ready: () => boss.getQueueSize('bench'),
		settle: () => boss.getDb().executeSql('VACUUM (ANALYZE) pgboss.job', []),
		round,
		start: (onJob) => boss.work('bench', { pollingIntervalSeconds: 0.5, batchSize: 100 }, async (jobs) => jobs.forEach((job) => onJob(job.data))),
		close: () => boss.stop({ graceful: false })
	}
}
