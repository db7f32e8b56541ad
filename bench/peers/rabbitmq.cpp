// SPDX-License-Identifier: PostgreSQL
// Load for RabbitMQ: a durable queue, persistent messages, publisher confirms, acks by hand. A batch is as
// many messages as are published before their confirms are awaited, and as many as are prefetched and acked
// at once. An ack is not confirmed by the server. The port is BENCH_RABBITMQ; system=rabbitmq is a quorum
// queue, system=rabbitmq_classic a classic one.
#include <iterator>
#include <set>

#include <sys/time.h>

#include <amqp.h>
#include <amqp_tcp_socket.h>

#include "../harness.hpp"
#include "../system.hpp"

namespace {

using namespace bench;

amqp_bytes_t
bytes(std::string const &text)
{
	return {text.size(), const_cast<char *>(text.data())};
}

// A connection with one channel, which either publishes or consumes, as is advised.
class Channel
{
  public:
	explicit Channel(std::string const &queue) : queue_(queue), state_(amqp_new_connection())
	{
		amqp_socket_t *const socket = amqp_tcp_socket_new(state_);
		if (amqp_socket_open(socket, "127.0.0.1", std::atoi(std::getenv("BENCH_RABBITMQ"))) != 0)
			throw std::runtime_error("RabbitMQ does not answer");
		check(amqp_login(state_, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest"));
		amqp_channel_open(state_, 1);
		check(amqp_get_rpc_reply(state_));
	}

	~Channel() { amqp_destroy_connection(state_); }

	Channel(Channel const &) = delete;

	// Returns the number of messages in it.
	long
	declare()
	{
		bool const classic = queue_ == "rabbitmq_classic";
		amqp_table_entry_t type{};
		type.key = amqp_cstring_bytes("x-queue-type");
		type.value.kind = AMQP_FIELD_KIND_UTF8;
		type.value.value.bytes = amqp_cstring_bytes(classic ? "classic" : "quorum");
		amqp_queue_declare_ok_t const *const declared =
			amqp_queue_declare(state_, 1, bytes(queue_), 0, 1, 0, 0, {1, &type});
		check(amqp_get_rpc_reply(state_));
		return declared->message_count;
	}

	void
	purge()
	{
		amqp_queue_purge(state_, 1, bytes(queue_));
		check(amqp_get_rpc_reply(state_));
	}

	void
	publishes()
	{
		amqp_confirm_select(state_, 1);
		check(amqp_get_rpc_reply(state_));
	}

	void
	consumes(int prefetch)
	{
		amqp_basic_qos(state_, 1, 0, static_cast<std::uint16_t>(prefetch), 0);
		check(amqp_get_rpc_reply(state_));
		amqp_basic_consume(state_, 1, bytes(queue_), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
		check(amqp_get_rpc_reply(state_));
	}

	// Returns when the server has all of them on disk.
	void
	publish(std::string const &body, int count)
	{
		amqp_basic_properties_t properties{};
		properties._flags = AMQP_BASIC_DELIVERY_MODE_FLAG;
		properties.delivery_mode = AMQP_DELIVERY_PERSISTENT;
		for (int i = 0; i < count; i++)
			if (amqp_basic_publish(state_, 1, amqp_empty_bytes, bytes(queue_), 1, 0, &properties, bytes(body)) != 0)
				throw std::runtime_error("not published");
		for (int i = 0; i < count; i++)
			unconfirmed_.insert(unconfirmed_.end(), ++published_);
		amqp_maybe_release_buffers(state_);
		while (!unconfirmed_.empty())
			wait_for_confirm();
	}

	// Nothing: none came in this time.
	std::optional<std::string>
	receive(long microseconds)
	{
		timeval timeout{microseconds / 1000000, microseconds % 1000000};
		amqp_envelope_t envelope;
		amqp_maybe_release_buffers(state_);
		amqp_rpc_reply_t const reply = amqp_consume_message(state_, &envelope, &timeout, 0);
		if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION && reply.library_error == AMQP_STATUS_TIMEOUT)
			return {};
		check(reply);
		delivered_ = envelope.delivery_tag;
		std::string body(static_cast<char const *>(envelope.message.body.bytes), envelope.message.body.len);
		amqp_destroy_envelope(&envelope);
		return body;
	}

	// All that were received.
	void
	ack()
	{
		if (amqp_basic_ack(state_, 1, delivered_, 1) != 0)
			throw std::runtime_error("not acked");
	}

  private:
	static void
	check(amqp_rpc_reply_t reply)
	{
		if (reply.reply_type != AMQP_RESPONSE_NORMAL)
			throw std::runtime_error("RabbitMQ: reply " + std::to_string(reply.reply_type) + ", " +
									 (reply.library_error != 0 ? amqp_error_string2(reply.library_error) : "refused"));
	}

	void
	wait_for_confirm()
	{
		amqp_frame_t frame;
		if (amqp_simple_wait_frame(state_, &frame) != AMQP_STATUS_OK)
			throw std::runtime_error("the connection is lost");
		if (frame.frame_type != AMQP_FRAME_METHOD)
			return;
		if (frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
			throw std::runtime_error("not confirmed");
		auto const *const confirm = static_cast<amqp_basic_ack_t *>(frame.payload.method.decoded);
		auto const end = unconfirmed_.upper_bound(confirm->delivery_tag);
		unconfirmed_.erase(confirm->multiple ? unconfirmed_.begin() : std::prev(end), end);
	}

	std::string queue_;
	amqp_connection_state_t state_;
	std::uint64_t published_ = 0;
	std::set<std::uint64_t> unconfirmed_; // they may come in any order
	std::uint64_t delivered_ = 0;
};

class RabbitClient
{
  public:
	explicit RabbitClient(Options const &options)
		: batch_(options.batch), scenario_(options.scenario), queue_(options.system)
	{
	}

	std::optional<int>
	round()
	{
		if (scenario_ == "enqueue")
			return enqueue();
		if (scenario_ == "claim_ack")
			return claim_ack();
		if (scenario_ == "cycle")
			return enqueue(), claim_ack().value_or(0);
		if (scenario_ == "receive")
			return receive();
		throw std::runtime_error("unknown scenario: " + scenario_);
	}

	std::optional<Clock::duration>
	waited() const
	{
		return waited_;
	}

	void
	enqueue_stamped()
	{
		publisher().publish(stamped_payload(), 1);
	}

	void
	finish()
	{
	}

  private:
	Channel &
	publisher()
	{
		if (!publisher_)
			publisher_.emplace(queue_), publisher_->publishes();
		return *publisher_;
	}

	Channel &
	consumer()
	{
		if (!consumer_)
			consumer_.emplace(queue_), consumer_->consumes(batch_);
		return *consumer_;
	}

	std::optional<int>
	enqueue()
	{
		publisher().publish(payload, batch_);
		return batch_;
	}

	// The end of a backlog is an empty second.
	std::optional<int>
	claim_ack()
	{
		int count = 0;
		while (count < batch_ && consumer().receive(1000000))
			count++;
		if (count == 0)
			return {};
		consumer().ack();
		return count;
	}

	std::optional<int>
	receive()
	{
		std::optional<std::string> const body = consumer().receive(1000000);
		if (!body)
			return 0;
		waited_ = Clock::now() - stamp_of(body->c_str());
		consumer().ack();
		return 1;
	}

	int batch_;
	std::string scenario_;
	std::string queue_;
	std::optional<Channel> publisher_;
	std::optional<Channel> consumer_;
	std::optional<Clock::duration> waited_;
};

class RabbitLoad
{
  public:
	using Client = RabbitClient;

	explicit RabbitLoad(Options const &options) : options_(options) {}

	std::unique_ptr<Client>
	open() const
	{
		return std::make_unique<Client>(options_);
	}

	void
	fill()
	{
		Channel channel(options_.system);
		long left = options_.backlog - channel.declare();
		if (options_.backlog == 0)
			channel.purge();
		channel.publishes();
		for (constexpr long chunk = 1000; left > 0; left -= chunk)
			channel.publish(payload, static_cast<int>(std::min(left, chunk)));
	}

	long
	server() const
	{
		throw std::runtime_error("server=PID is missing");
	}

	long
	wal() const
	{
		return 0;
	}

	long
	dead() const
	{
		return 0;
	}

  private:
	Options const &options_;
};

} // namespace

int
main(int count, char **words)
{
	return bench::run_load<RabbitLoad>(count, words);
}
