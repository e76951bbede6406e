-- What a gateway of version 2 has left besides.
UPDATE counters SET registry_trimmed = 1 WHERE id = 1;
UPDATE twins SET reported_epoch = 7 WHERE device_id = 'pump';
